//! Situations of the field: the tracer as it is used, and not as it is convenient to test. What
//! each does is in [`crate::scenario`].

/// One kind of situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The tracer or who calls is in a pid namespace.
    PidNamespace,
    /// Nobody calls.
    OwnCall,
    /// Time namespaces.
    TimeNamespace,
    /// Ticks in two pieces.
    Readv,
    /// As another user than root.
    Privileges,
    /// Switches that are off before it starts.
    BlindFromBegin,
    /// Switches that are thrown while it runs.
    SwitchThrown,
    /// Thousands of timers that come and go.
    Churn,
    /// Timers that fire before they were set.
    Short,
    /// CLOCK_REALTIME is set.
    ClockSet,
    /// Reads by io_uring.
    Uring,
    /// Output that cannot be written.
    ReaderGone,
    /// Timers that were there before.
    AttachMidst,
    /// Large process ids.
    IdsLarge,
    /// Names that change.
    Names,
    /// Ticks that a program gave itself.
    SetTicks,
    /// All calls that wait.
    WaitsByName,
    /// All namespaces at once.
    Container,
    /// A process that is asked for ends.
    ProcessEnded,
    /// A followed thread that executes a program.
    Exec,
    /// A process is made while probes are switched off.
    ForkWhileOff,
    /// The last to have a timer exits with it.
    Taken,
    /// A call that is inside the kernel when tracing ends.
    InsideAtEnd,
    /// The machine sleeps.
    Suspended,
}
