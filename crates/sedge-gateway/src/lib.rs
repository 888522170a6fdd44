//! One door to every language model: the local engine, model files, budgets.
