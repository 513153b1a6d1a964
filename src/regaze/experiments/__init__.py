"""The paper's tables and figures on one's own data, one module each."""
