//! How whoever waits is told what takes long.

/// Says what is being done when it may take long.
pub type Say<'a> = &'a dyn Fn(&str);
