//! The kernels known by name: `ci/kernels.toml`, read at build time.

use std::sync::LazyLock;

use serde::Deserialize;

/// One kernel of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What the user calls it.
    pub name: String,
    /// Debian suites that hold it.
    pub suites: Vec<String>,
    /// Shell pattern that the package's name matches.
    pub image: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kernel: Vec<Entry>,
}

/// All entries, in the file's order.
pub fn catalog() -> &'static [Entry] {
    static CATALOG: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let file: File = toml::from_str(include_str!("../../../../ci/kernels.toml"))
            .expect("ci/kernels.toml is checked by a unit test");
        file.kernel
    });
    &CATALOG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_well_formed_and_its_names_differ() {
        let mut names: Vec<_> = catalog().iter().map(|entry| &entry.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), catalog().len());
        assert!(catalog().iter().all(|entry| glob::Pattern::new(&entry.image).is_ok()));
    }
}
