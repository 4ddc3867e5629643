//! A sample assistant that speaks OpenAI Chat Completions with streaming.
