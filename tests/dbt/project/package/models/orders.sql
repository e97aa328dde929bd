{{ config(alias='shared_orders', materialized='table') }}
select 1 as shared_order_id
