//! The front of a frame whose content is sent after it from where it lies, so that bulk data is not
//! copied into a frame first. Only for replies whose `content` is their last field.

use settime32_abi::frame::{PREFIX_LEN, Reply, encode};

/// The bytes that come before `content_len` bytes of content; `empty` is the reply with none.
pub(crate) fn head(empty: &Reply, content_len: usize) -> Vec<u8> {
    let mut head = encode(empty);
    // The last byte is the length of the content, which is 0 in `empty`.
    let zero = head.pop();
    debug_assert_eq!(zero, Some(0), "the reply has content, or does not end with it");
    let mut head = postcard::to_extend(&content_len, head).expect("a number is always encoded");
    let len = u32::try_from(head.len() - PREFIX_LEN + content_len)
        .expect("the caller keeps to MAX_FRAME_LEN");
    head[..PREFIX_LEN].copy_from_slice(&len.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use settime32_abi::frame::Stream;

    use super::*;

    #[test]
    fn head_and_content_are_the_whole_frame() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 1 << 20, (1 << 21) + 1] {
            let content = vec![7; len];
            let output = |content| Reply::Output { id: 300, stream: Stream::Stderr, content };
            let file = |content| Reply::File { path: "/tmp/journal".into(), content };
            let frame = [head(&output(vec![]), len), content.clone()].concat();
            assert!(frame == encode(&output(content.clone())), "output of {len} bytes");
            let frame = [head(&file(vec![]), len), content.clone()].concat();
            assert!(frame == encode(&file(content)), "file of {len} bytes");
        }
    }
}
