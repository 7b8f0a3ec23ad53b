// In the audio thread: how loud each block of 128 samples is, and when it was, on the context's clock.

const AT_ONCE = 16; // blocks a message

registerProcessor("tap", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.rows = [];
  }

  process([input]) {
    const samples = input[0];
    let sum = 0;
    for (const value of samples ?? []) sum += value * value;
    this.rows.push([currentTime, samples ? Math.sqrt(sum / samples.length) : 0]);
    if (this.rows.length >= AT_ONCE) {
      this.port.postMessage(this.rows);
      this.rows = [];
    }
    return true;
  }
});
