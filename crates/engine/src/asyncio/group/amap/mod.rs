//! `amap`: a function over many items, a few at a time.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`work`] | what runs, what is finished and not yet taken, and how it ends |
//! | [`calls`] | when the next item is pulled, and what a call tells |
//! | [`face`] | `AsyncMap`: what the user iterates, awaits and closes |
//!
//! The [`Work`](work::Work) belongs to its calls: each holds it through its observer. The [`AsyncMap`](face::AsyncMap) belongs to the user:
//! when it is dropped, by `break` for instance, nobody can take results any more, and the calls are cancelled.
//!
//! An item is pulled when fewer than `limit` calls run, and no more than `buffer` results wait to be taken beside them. So neither a
//! long input, nor a slow consumer, nor one slow call at the head of an ordered map lets anything pile up.

pub mod calls;
pub mod face;
pub mod work;
