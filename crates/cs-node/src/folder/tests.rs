//! Stories and properties of the folder.
