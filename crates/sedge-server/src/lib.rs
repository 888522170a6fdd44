//! Doors for others: REST and OpenAI.
