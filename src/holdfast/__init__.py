"""Background jobs that hold: durable tasks on one SQLite file or on PostgreSQL."""
