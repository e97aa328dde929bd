"""cdp beside dbt. `project/` is a small dbt project, `recorded/` what a real dbt made of it (see `record`)."""
