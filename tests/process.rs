//! `Process`: what a caller sees of it. Nothing in this program sets anything up.
#![cfg(feature = "auto-init")]
#![allow(unsafe_code)]

mod started;
mod worker;

use multiproc::StartMethod;

const METHOD: StartMethod = StartMethod::Spawn;
