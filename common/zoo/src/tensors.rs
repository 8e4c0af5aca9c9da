//! The tensors of a file as the rows of the zoo see them: by name and shape.

/// The tensors of a file under their bare names, and the images that its network is for.
pub struct Tensors<'a> {
    /// The shape of the tensor of that name.
    pub shape_of: &'a dyn Fn(&str) -> Option<Vec<usize>>,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
}

impl Tensors<'_> {
    /// The length of a tensor along `axis`.
    pub(super) fn size(&self, name: &str, axis: usize) -> Option<usize> {
        (self.shape_of)(name)?.get(axis).copied()
    }

    /// How many of the tensors `name(0)`, `name(1)`, .. there are before the first that is missing.
    pub(super) fn count(&self, name: impl Fn(usize) -> String) -> usize {
        // More than any network has: a file that answers to every name must not hold us up.
        (0..1000).find(|&i| (self.shape_of)(&name(i)).is_none()).unwrap_or(1000)
    }
}
