select 'FR' as code
