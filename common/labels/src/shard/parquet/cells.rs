//! A column as Arrow holds it: its type, an array made of its bytes, and the bytes of an array.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Int16Type, Int32Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, PrimitiveArray};
use arrow_buffer::Buffer;
use arrow_schema::{ArrowError, DataType, Field};

use crate::row::column::{Column, Element, Width};
use crate::row::dtype::Dtype;
use crate::shard::layout::Layout;

/// Does the same for every type of number.
macro_rules! with_primitive {
    ($element:expr, $floats:expr, $function:ident($($argument:expr),*)) => {
        match $element {
            Element::Bool => unreachable!("bits are no primitive"),
            Element::U8 => $function::<UInt8Type>($($argument),*),
            Element::U16 => $function::<UInt16Type>($($argument),*),
            Element::I16 => $function::<Int16Type>($($argument),*),
            Element::I32 => $function::<Int32Type>($($argument),*),
            Element::U32 => $function::<UInt32Type>($($argument),*),
            Element::U64 => $function::<UInt64Type>($($argument),*),
            Element::Float(which) => match which.dtype($floats) {
                Dtype::F16 => $function::<Float16Type>($($argument),*),
                Dtype::F32 => $function::<Float32Type>($($argument),*),
                Dtype::U8 => unreachable!("codes are no floats"),
            },
        }
    };
}

/// A value for one-value entries, fixed-size binary for a hash's bytes, a fixed-size list for everything else.
pub(super) fn data_type(column: &Column, layout: &Layout) -> DataType {
    let Some(width) = layout.width(column) else { return value_type(column, layout) };
    if matches!(column.width, Width::Fixed(_)) {
        return DataType::FixedSizeBinary(width as i32);
    }
    let element = Field::new("element", value_type(column, layout), false);
    DataType::FixedSizeList(Arc::new(element), width as i32)
}

fn value_type(column: &Column, layout: &Layout) -> DataType {
    fn of<T: ArrowPrimitiveType>() -> DataType {
        T::DATA_TYPE
    }
    if column.element == Element::Bool {
        return DataType::Boolean;
    }
    with_primitive!(column.element, layout.floats, of())
}

/// The array of a column's entries, given their bytes.
pub(super) fn array(column: &Column, layout: &Layout, bytes: Buffer) -> Result<ArrayRef, ArrowError> {
    fn of<T: ArrowPrimitiveType>(bytes: Buffer) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(bytes.into(), None))
    }
    match data_type(column, layout) {
        DataType::Boolean => {
            Ok(Arc::new(BooleanArray::from(bytes.iter().map(|&byte| byte != 0).collect::<Vec<_>>())))
        }
        DataType::FixedSizeBinary(width) => Ok(Arc::new(FixedSizeBinaryArray::try_new(width, bytes, None)?)),
        DataType::FixedSizeList(element, width) => {
            let values = with_primitive!(column.element, layout.floats, of(bytes));
            Ok(Arc::new(FixedSizeListArray::try_new(element, width, values, None)?))
        }
        _ => Ok(with_primitive!(column.element, layout.floats, of(bytes))),
    }
}

/// The bytes of an array's entries. The array must have the column's [`data_type`] and no nulls.
pub(super) fn bytes(column: &Column, layout: &Layout, array: &ArrayRef) -> Buffer {
    fn of<T: ArrowPrimitiveType>(array: &ArrayRef) -> Buffer {
        cast::<PrimitiveArray<T>>(array).values().inner().clone()
    }
    match data_type(column, layout) {
        DataType::Boolean => {
            let bits = cast::<BooleanArray>(array).values();
            Buffer::from(bits.iter().map(u8::from).collect::<Vec<_>>())
        }
        DataType::FixedSizeBinary(width) => {
            let entries = cast::<FixedSizeBinaryArray>(array);
            entries
                .values()
                .slice_with_length(entries.offset() * width as usize, entries.len() * width as usize)
        }
        DataType::FixedSizeList(_, width) => {
            let lists = cast::<FixedSizeListArray>(array);
            let values = lists.values().slice(lists.value_offset_at(0), lists.len() * width as usize);
            with_primitive!(column.element, layout.floats, of(&values))
        }
        _ => with_primitive!(column.element, layout.floats, of(array)),
    }
}

fn cast<A: Array + 'static>(array: &ArrayRef) -> &A {
    array.as_any().downcast_ref().expect("the schema was compared")
}
