"""Skills: the catalog, skill facts, parameters, schemas and rules, and what all skills share."""
