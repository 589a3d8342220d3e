/** Whether this build brings ONNX Runtime's WebGPU variant (`make web WEBGPU=1`). */
declare const WEBGPU: boolean;
