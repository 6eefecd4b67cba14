//! What a program of this machine needs in a guest, and how the guest gets it: files at the paths
//! that they have here, over the agent's port, in a root file system in memory.
//!
//! [`carried`] is the list of files, [`needed`] adds a program with its loader and libraries,
//! [`package`] what cargo gives to a crate's tests, [`dpkg`] an installed package, [`tools`] the
//! usual small ones; [`furnish`] brings it all into a guest, and [`environment`] says which
//! variables go with it. Nothing that is carried is executed here to find out what it needs, and
//! nothing that the guest does reaches this machine.
//!
//! Each module imports only from those before it in this list: failure, carried, needed, tools, dpkg,
//! furnish, package; environment stands alone.

pub mod carried;
pub mod dpkg;
pub mod environment;
pub mod failure;
pub mod furnish;
pub mod needed;
pub mod package;
pub mod tools;
