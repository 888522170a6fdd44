"""Writes a model file again with its 4-bit matrices in another format, to compare formats: the same model, a bit coarser.

usage: requantise.py FROM.gguf TO.gguf Q4_0|Q4_1|Q8_0
"""

import sys

import gguf


def main(source: str, target: str, name: str) -> None:
    wanted = gguf.GGMLQuantizationType[name]
    four_bits = {gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q4_1}
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        data, kind = tensor.data, tensor.tensor_type
        if kind in four_bits:
            data, kind = gguf.quants.quantize(gguf.quants.dequantize(data, kind), wanted), wanted
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
