"""One file a step of the schema, in order; a step that shipped is never edited."""
