select customer_id, email, country as "Country", cast(loaded_at as timestamp) as updated_at
from {{ source('raw', 'customers') }}
{% if var('twice') %}union all
select customer_id, email, country, cast(loaded_at as timestamp) from {{ source('raw', 'customers') }}
{% endif %}
