//! Values there and back, and bytes that are none. A module of `#[cfg(test)]` only.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use super::*;
use crate::process::tests::Random;
use pyo3::types::{PyDict, PyTuple};

fn there_and_back<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let mut bytes = vec![9];
    let simple = encode(value, &mut bytes);
    assert!(simple || bytes == [9], "a failure leaves nothing behind");
    simple.then(|| decode(value.py(), &bytes[1..]).unwrap())
}

#[test]
fn simple_values_come_back_equal_and_of_the_same_type() {
    Python::initialize();
    Python::attach(|py| {
        let text =
            c"[None, True, False, 0, -1, 2**63 - 1, -2**63, 2**63, -2**63 - 1, 10**100, 0.0, -0.0, 1e300, float('inf'), '', 'a', 'ascii',
            '\\xe9', '\\u0416\\u0416', '\\U0001f600', '\\udc80', 'x' * 65536, b'', b'\\0\\xff', '\\0']";
        for value in py.eval(text, None, None).unwrap().try_iter().unwrap() {
            let value = value.unwrap();
            let again = there_and_back(&value).unwrap();
            assert!(again.eq(&value).unwrap() && again.get_type().is(value.get_type()));
            assert_eq!(
                again.repr().unwrap().to_string(),
                value.repr().unwrap().to_string()
            );
        }
    });
}

#[test]
fn containers_come_back_equal_if_nothing_in_them_stands_twice() {
    Python::initialize();
    Python::attach(|py| {
        let text = c"[(), [], {}, ((), ()), (1, 'a', None), [[1], [1.5, (b'x',)]], {'a': [1], 2: {None: ()}, b'b': (True,)}, {(): 1, (1, (2,)): 3},
            [[[[[[[[[[]]]]]]]]]], list(range(64))]";
        for value in py.eval(text, None, None).unwrap().try_iter().unwrap() {
            let value = value.unwrap();
            let again = there_and_back(&value).unwrap();
            assert_eq!(
                again.repr().unwrap().to_string(),
                value.repr().unwrap().to_string()
            );
        }
        // Twice, a cycle, too many, too deep, too long, a subclass, an object.
        let text = c"(lambda a, deep: a.append(a) or [([x := [1]] + [x]), a, list(range(65)), [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]],
            ['x' * 65536] * 3, type('T', (tuple,), {})(), type('L', (list,), {})(),
            type('D', (dict,), {})(), [1j], {1: 1j}])([], [])";
        for value in py.eval(text, None, None).unwrap().try_iter().unwrap() {
            let value = value.unwrap();
            assert!(there_and_back(&value).is_none(), "{value}");
        }
        // Once in each of two arguments.
        let one = py.eval(c"[1]", None, None).unwrap();
        let show = py.eval(c"lambda *args: None", None, None).unwrap();
        let args = (&one, &one).into_pyobject(py).unwrap();
        assert!(call(&show, &args, &PyDict::new(py)).is_none());
    });
}

#[test]
fn other_values_are_left_to_pickle() {
    Python::initialize();
    Python::attach(|py| {
        let text = c"[1 << 2040, 1j, lambda: 0, int, 'x' * 65537, b'x' * 65537,
            type('I', (int,), {})(1), type('S', (str,), {})('s'), type('B', (bytes,), {})(b's'), type('F', (float,), {})(1.0)]";
        for value in py.eval(text, None, None).unwrap().try_iter().unwrap() {
            assert!(there_and_back(&value.unwrap()).is_none());
        }
    });
}

/// Encodes a call of `args` and `keywords`, makes it to `callable`.
fn call<'py>(
    callable: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    keywords: &Bound<'py, PyDict>,
) -> Option<Bound<'py, PyAny>> {
    let py = callable.py();
    let mut all: Vec<_> = args.iter().map(|value| value.as_ptr()).collect();
    let names = keywords.keys().to_tuple();
    all.extend(keywords.iter().map(|(_, value)| value.as_ptr()));
    let mut bytes = vec![9];
    // SAFETY: as many as said, alive while `args` and `keywords` are.
    let simple = unsafe {
        encode_call(
            py,
            all.as_ptr(),
            args.len(),
            names.as_ptr(),
            &mut bytes,
            &mut Walk::default(),
        )
    };
    assert!(simple || bytes == [9]);
    simple.then(|| {
        let mut arguments = decode_call(py, &bytes[1..]).unwrap();
        arguments.call(callable).unwrap()
    })
}

#[test]
fn a_call_is_made_with_the_same_arguments() {
    Python::initialize();
    Python::attach(|py| {
        let show = py
            .eval(c"lambda *args, **keywords: (args, keywords)", None, None)
            .unwrap();
        let many: Vec<_> = (0..300).collect();
        let cases = [
            PyTuple::empty(py),
            (1, "two", 3.0).into_pyobject(py).unwrap(),
            PyTuple::new(py, many).unwrap(),
        ];
        for args in cases {
            let keywords = PyDict::new(py);
            for (name, value) in [("", "none"), ("a", "b"), ("\u{416}", "")] {
                let got = call(&show, &args, &keywords).unwrap();
                assert!(got.eq((&args, &keywords)).unwrap());
                keywords.set_item(name, value).unwrap();
            }
        }
        let nothing = PyDict::new(py);
        assert!(
            call(
                &show,
                &(1, py.eval(c"object()", None, None).unwrap())
                    .into_pyobject(py)
                    .unwrap(),
                &nothing
            )
            .is_none()
        );
        let long = ("x".repeat(LONGEST / 2), "x".repeat(LONGEST / 2));
        assert!(call(&show, &long.into_pyobject(py).unwrap(), &nothing).is_none());
    });
}

#[test]
fn no_bytes_whatever_are_more_than_an_error() {
    Python::initialize();
    Python::attach(|py| {
        let mut random = Random::new(2);
        let mut read = 0;
        for _ in 0..50_000 {
            let bytes = random.bytes(48);
            if let Ok(value) = decode(py, &bytes) {
                assert!(there_and_back(&value).is_some());
                read += 1;
            }
            drop(decode_call(py, &bytes));
        }
        assert!(read > 100, "{read} of them were values");
        // A character beyond the last one.
        assert!(decode(py, &[TEXT_4, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f]).is_err());
        // A key that cannot be one; more values than bytes; dimensions that there are not; a buffer that is not beside.
        assert!(decode(py, &[DICT, 1, 0, 0, 0, LIST, 0, 0, 0, 0, NONE]).is_err());
        assert!(decode(py, &[LIST, 0xff, 0xff, 0xff, 0x7f, NONE]).is_err());
        assert!(decode(py, &[ARRAY, 2, 1, 33, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(decode(py, &[ARRAY_BESIDE, 2, 1, 0]).is_err());
        assert!(decode(py, &[LIST, 1, 0, 0, 0].repeat(1000)).is_err());
        // More than there is.
        assert!(decode(py, &[BYTES, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
        assert!(decode_call(py, &[0xff, 0xff, 0xff, 0xff]).is_err());
    });
}
