"""What a skill is: the catalog, its facts, parameters, schemas and rules, and what every skill shares."""
