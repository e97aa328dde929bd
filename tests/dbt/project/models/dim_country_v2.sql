select 'FR' as code, 'France' as name
