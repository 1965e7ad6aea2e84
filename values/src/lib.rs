//! Operations on texts, lists and boxes, each written once: the reference interpreter and the runtime's host steps call the same
//! function.
//!
//! A function takes whole tensors, whose texts are in heaps of their own, and says in words what is wrong with
//! elements that have no meaning. Element types and ranks are what the type rules of the graph IR promise.

mod boxes;
mod labels;
mod lists;
mod numbers;
mod texts;

pub use boxes::suppress;
pub use labels::lookup;
pub use lists::{list_at, list_concat, list_erase, list_insert, list_length, list_split};
pub use numbers::{parse, print};
pub use texts::{Case, concat, matches, normalize, pattern, split};
