//! Tests that need more than one stage; see the files beside this one.
