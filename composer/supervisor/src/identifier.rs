//! Names that nobody else has.

/// 64 hexadecimal digits from the kernel's random source, as Docker's containers have them.
pub fn identifier() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_are_the_same() {
        let (one, two) = (super::identifier().unwrap(), super::identifier().unwrap());
        assert!(one.len() == 64 && one.chars().all(|c| c.is_ascii_hexdigit()) && one != two);
    }
}
