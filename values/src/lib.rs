//! Operations on texts, lists, boxes and pictures, each written once: the reference interpreter and the runtime's host steps call the same
//! function.
//!
//! A function takes whole tensors, whose texts are in heaps of their own, and says in words what is wrong with
//! elements that have no meaning. Element types and ranks are what the type rules of the graph IR promise.

mod boxes;
mod images;
mod labels;
mod lists;
mod numbers;
mod paths;
mod texts;
mod tokens;

pub use boxes::suppress;
pub use images::{Pixels, decode_image};
pub use labels::lookup;
pub use lists::{list_at, list_concat, list_erase, list_insert, list_length, list_maps, list_split};
pub use numbers::{parse, print};
pub use paths::time_warp;
pub use texts::{Case, concat, matches, normalize, pattern, split};
pub use tokens::{Tokens, tokens};
