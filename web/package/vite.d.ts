/** Vite plugin that copies ONNX Runtime and the model next to the built script. */
export default function anymask(): { name: string };
