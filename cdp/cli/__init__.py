"""The command line: one small file per command. It alone prints and exits; the work is done in `cdp.flow`."""
