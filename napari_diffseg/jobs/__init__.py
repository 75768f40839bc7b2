"""Between the engine's jobs and Qt's signals."""
