//! What becomes of a run when what it uses fails, hangs, is slow, or when
//! recipe dies just there.

mod deadlines;
mod drive;
#[path = "../harness/mod.rs"]
mod harness;
mod kind;
mod local;
mod table;
