//! What users install, judged without a cluster: the images as they are packed, and the chart's values as the docs have them.
//!
//! Each test names the file that is wrong, and the command that writes it anew where there is one.

mod images;
mod values;
