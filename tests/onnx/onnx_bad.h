/* Broken files and the exact words each must be answered with, behind "file: ". Tags: number of the field * 8 +
 * wire type. */
typedef struct BadOnnx {
    bool is_model; /* else a tensor */
    const char *bytes;
    size_t n;
    const char *message;
} BadOnnx;

#define T(text, message)                                                                                       \
    {                                                                                                          \
        false, text, sizeof(text) - 1, message                                                                 \
    }
#define M(text, message)                                                                                       \
    {                                                                                                          \
        true, text, sizeof(text) - 1, message                                                                  \
    }
#define TEN(x) x x x x x x x x x x
/* dims 2, float */
#define TWO "\x08\x02\x10\x01"

static const BadOnnx bad_onnx[] = {
    /* the wire format */
    T("\x10", "byte 1: the number is cut off"),
    T("\xff", "byte 0: the number is cut off"),
    T("\x08" TEN("\xff"), "byte 1: a number of more than 64 bits"),
    T("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "byte 1: a number of more than 64 bits"),
    T("\x0b", "byte 0: field 1 is of wire type 3"),
    T("\x0c", "byte 0: field 1 is of wire type 4"),
    T("\x0f", "byte 0: field 1 is of wire type 7"),
    T(TWO "\x4a\x08wxyz", "byte 4: field 9 has 8 bytes, but 4 are left"),
    T(TWO "\x4a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
      "byte 4: field 9 has 18446744073709551615 bytes, but 0 are left"),
    T(TWO "\x4a", "byte 5: the number is cut off"),
    T(TWO "\x7dxyz", "byte 4: field 15 has 4 bytes, but 3 are left"),
    T(TWO "\x79tuvwxyz", "byte 4: field 15 has 8 bytes, but 7 are left"),
    /* TensorProto */
    T("", "byte 0: elements of type unknown"),
    T("\x08\x01\x10\x08\x32\x01z", "byte 0: elements of type string"),
    T("\x08\x01\x10\x10\x4a\x02yz", "byte 0: elements of type unknown"),
    T("\x10\x63", "byte 0: elements of type unknown"),
    T(TWO, "byte 0: its dims say 2 elements of float, found 0"),
    T(TWO "\x4a\x04wxyz", "byte 0: its dims say 2 elements of float, found 1"),
    T(TWO "\x4a\x0copqrstuvwxyz", "byte 0: its dims say 2 elements of float, found 3"),
    T(TWO "\x4a\x07tuvwxyz", "byte 0: its dims say 2 elements of float, found 1"),
    T(TWO "\x4a\x0aqrstuvwxyz", "byte 0: its dims say 2 elements of float, found 2 and a part of one"),
    T(TWO "\x22\x04wxyz", "byte 0: its dims say 2 elements of float, found 1"),
    T(TWO "\x22\x06uvwxyz", "byte 10: the last element is cut off"),
    T(TWO "\x20\x01\x20\x01", "byte 4: elements are of wire type 0"),
    T(TWO "\x3a\x02\x01\x02", "byte 0: its dims say 2 elements of float, found 0"),
    T("\x08\x01\x10\x07\x3a\x01\x80", "byte 6: the number is cut off"),
    T("\x08\x01\x10\x0b\x52\x04wxyz", "byte 6: the last element is cut off"),
    T("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x01",
      "byte 0: dims are negative, or too large together"),
    T("\x08\x80\x80\x80\x80\x80\x40\x08\x80\x80\x80\x80\x80\x40\x10\x01",
      "byte 0: dims are negative, or too large together"),
    T("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x40\x10\x01\x4a\x04wxyz",
      "byte 0: its dims say 4611686018427387904 elements of float, found 1"),
    T("\x0a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01\x10\x01", "byte 0: more than 8 dims"),
    T("\x0a\x02\x01\x80", "byte 3: the number is cut off"),
    T("\x0dwxyz", "byte 0: dims is of wire type 5, expected 2"),
    T("\x12\x01\x01", "byte 0: data_type is of wire type 2, expected 0"),
    T(TWO "\x48\x01", "byte 4: raw_data is of wire type 0, expected 2"),
    T(TWO "\x40\x01", "byte 4: the name is of wire type 0, expected 2"),
    /* ModelProto */
    M("", "byte 0: a model without nodes"),
    M("\x08\x07", "byte 0: a model without nodes"),
    M("\x38\x01", "byte 0: the graph is of wire type 0, expected 2"),
    M("\x3a\x04\x0a\x64yz", "byte 2: field 1 has 100 bytes, but 2 are left"),
    M("\x3a\x02\x08\x01", "byte 2: a node is of wire type 0, expected 2"),
    M("\x3a\x04\x0a\x02\x08\x01", "byte 4: inputs of a node is of wire type 0, expected 2"),
    M("\x3a\x04\x0a\x02\x10\x01", "byte 4: outputs of a node is of wire type 0, expected 2"),
    M("\x3a\x04\x0a\x02\x20\x01", "byte 4: op_type is of wire type 0, expected 2"),
    M("\x3a\x04\x0a\x02\x28\x01", "byte 4: an attribute is of wire type 0, expected 2"),
    M("\x3a\x06\x0a\x04\x2a\x02\x08\x01", "byte 6: an attribute's name is of wire type 0, expected 2"),
    M("\x3a\x06\x0a\x04\x2a\x02\x10\x01", "byte 6: a float is of wire type 0, expected 5"),
    M("\x3a\x07\x0a\x05\x2a\x03\x1a\x01\x01", "byte 6: an int is of wire type 2, expected 0"),
    M("\x3a\x06\x0a\x04\x2a\x02\x20\x01", "byte 6: a string is of wire type 0, expected 2"),
    M("\x3a\x06\x0a\x04\x2a\x02\x28\x01", "byte 6: a tensor is of wire type 0, expected 2"),
    M("\x3a\x08\x0a\x06\x2a\x04\x2a\x02\x08\x01", "byte 8: elements of type unknown"),
    M("\x3a\x07\x0a\x05\x2a\x03\x42\x01\x80", "byte 8: the number is cut off"),
    M("\x3a\x18\x0a\x16\x2a\x14\x42\x12\x01\x01\x01\x01\x01\x01\x01\x01\x01"
      "\x01\x01\x01\x01\x01\x01\x01\x01\x01",
      "byte 6: more than 16 ints"),
    M("\x3a\x24\x0a\x22" TEN("\x0a\x00") "\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00",
      "byte 36: more than 16 inputs of a node"),
    M("\x3a\x24\x0a\x22" TEN("\x2a\x00") "\x2a\x00\x2a\x00\x2a\x00\x2a\x00\x2a\x00\x2a\x00\x2a\x00",
      "byte 36: more than 16 attributes of a node"),
    M("\x3a\x28" TEN("\x2a\x02\x10\x01"), "byte 4: its dims say 1 elements of float, found 0"),
    M("\x3a\x02\x28\x01", "byte 2: an initialiser is of wire type 0, expected 2"),
    M("\x3a\x06\x2a\x04" TWO, "byte 4: its dims say 2 elements of float, found 0"),
    M("\x3a\x02\x58\x01", "byte 2: inputs is of wire type 0, expected 2"),
    M("\x3a\x02\x60\x01", "byte 2: outputs is of wire type 0, expected 2"),
    M("\x3a\x04\x5a\x02\x08\x01", "byte 4: inputs is of wire type 0, expected 2"),
    M("\x3a\x22" TEN("\x5a\x00") "\x5a\x00\x5a\x00\x5a\x00\x5a\x00\x5a\x00\x5a\x00\x5a\x00",
      "byte 34: more than 16 inputs"),
    M("\x3a\x82\x01" TEN(
          "\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00") "\x0a\x00\x0a\x00\x0a\x00\x0a\x00\x0a\x00",
      "byte 131: more than 64 nodes"),
    M("\x40\x01", "byte 0: opset_import is of wire type 0, expected 2"),
    M("\x42\x02\x08\x01", "byte 2: a domain is of wire type 0, expected 2"),
};
