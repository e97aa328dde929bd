"""What a user may write, how it is read, and the project that comes of it."""

from cdp.project.json_schema import schema_json
from cdp.project.load import LOCK_FILE, ROOT_FILE, Project, load, read_head

__all__ = ["LOCK_FILE", "ROOT_FILE", "Project", "load", "read_head", "schema_json"]
