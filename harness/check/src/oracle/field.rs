//! The keys of an event of a call, and sets of them.

/// Keys of an event that are compared, by their names in JSON.
macro_rules! fields {
    ($($field:ident $name:literal),+ $(,)?) => {
        /// A key of an event of a call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field {
            $($field),+
        }

        impl Field {
            /// All keys, in the order in which differences are listed.
            const ALL: &[Self] = &[$(Self::$field),+];

            /// The key as events have it.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name),+
                }
            }
        }
    };
}

fields! {
    Event "event",
    ExitNs "exit_ns",
    Pid "pid",
    Tid "tid",
    Comm "comm",
    Cpu "cpu",
    Abi "abi",
    EntryPath "entry_path",
    Ufd "ufd",
    Flags "flags",
    Utmr "utmr",
    UtmrEntry "utmr_entry",
    UtmrEntryErrno "utmr_entry_errno",
    UtmrUsed "utmr_used",
    Toctou "toctou",
    Otmr "otmr",
    Old "old",
    OldTruncated "old_truncated",
    OtmrWritten "otmr_written",
    Ret "ret",
    Errno "errno",
    Unfinished "unfinished",
    ResultLost "result_lost",
    // It need not equal anything, and is judged by the events around it.
    EntryNs "entry_ns",
}

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u32);

impl Fields {
    /// All fields.
    pub const ALL: Self = Self::of(Field::ALL);
    /// No field.
    pub const NONE: Self = Self(0);
    /// What the events of any tracer have: that there is one, and that its call was neither lost
    /// nor still under way. A tracer that knows of neither leaves such a call out.
    pub const OF_ANY_EVENT: Self = Self::of(&[Field::Event, Field::Unfinished, Field::ResultLost]);
    pub(super) const ENTRY_TIME: Self = Self::of(&[Field::EntryNs]);
    /// What differs most from one call to the next.
    pub(super) const TELLING: Self =
        Self::of(&[Field::Ufd, Field::Flags, Field::Utmr, Field::Otmr, Field::Ret]);
    pub(super) const UTMR_ENTRY: Self = Self::of(&[Field::UtmrEntry]);
    pub(super) const UTMR_USED: Self = Self::of(&[Field::UtmrUsed]);
    pub(super) const OLD: Self = Self::of(&[Field::Old]);
    pub(super) const OTMR_WRITTEN: Self = Self::of(&[Field::OtmrWritten]);
    /// Who called.
    pub(super) const IDENTITY: Self = Self::of(&[Field::Pid, Field::Tid]);
    /// What the return of a call gives: absent when the tracer lost it and says so.
    pub(super) const OF_RETURN: Self =
        Self::of(&[Field::ExitNs, Field::OtmrWritten, Field::Ret, Field::Errno, Field::ResultLost]);
    /// What is not known of a call that was still inside the kernel.
    pub(super) const UNFINISHED: Self = Self::OF_RETURN.with(Self::of(&[
        Field::UtmrUsed,
        Field::Toctou,
        Field::Old,
        Field::Unfinished,
    ]));

    /// The set of these.
    pub(super) const fn of(fields: &[Field]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < fields.len() {
            bits |= 1 << fields[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    /// The set of one field; `None` when there is no such field.
    pub fn named(name: &str) -> Option<Self> {
        Field::ALL.iter().find(|field| field.name() == name).map(|field| Self::of(&[*field]))
    }

    /// Each field in the set.
    pub(super) fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.iter().copied().filter(move |field| self.has(*field))
    }

    /// The names of the fields in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter().map(Field::name)
    }

    /// Whether the field is in the set.
    pub(super) const fn has(self, field: Field) -> bool {
        self.0 >> field as u32 & 1 == 1
    }

    /// The fields of either set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The fields of both sets.
    #[must_use]
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The fields of this set only.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has no field.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether the other set has all of these.
    pub const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}
