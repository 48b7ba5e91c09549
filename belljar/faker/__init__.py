"""A stand-in for any MCP server: same tools, no writes, every call kept."""
