"""Pure numbers from arrays and callables: grading, faithfulness, agreement with lesions."""
