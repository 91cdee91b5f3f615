//! A stack as `compose graph` shows it: to be read, or to be drawn by Mermaid or Graphviz.

mod diagram;
mod dot;
mod mermaid;
mod text;
mod words;

pub use dot::dot;
pub use mermaid::mermaid;
pub use text::text;

#[cfg(test)]
mod tests;
