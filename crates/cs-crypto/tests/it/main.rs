//! Published vectors, interoperation with independent implementations, and properties.
