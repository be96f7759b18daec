//! Plans: what is to be pulled and removed, what stays, and why. Immutable, printable, and made without side effects.
