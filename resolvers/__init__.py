"""How fields get their values: who may see what, which loader, which cursor, which budget. Names no GraphQL type."""
