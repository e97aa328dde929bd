{{ config(tags=['hourly']) }}
select order_id, customer_id, amount, ordered_at
from {{ ref('stg_orders') }}
{% if var('broken') %}where no_such_column = 1{% endif %}
