"""`python -m cdp.cli`: the command line where the script `cdp` is not on the path."""

from cdp.cli.main import main

main()
