/** Fits models beside the thread that asked: some seconds of computing, in which nobody else of the process has to wait. */
import { parentPort, workerData } from 'node:worker_threads';
import { modelsOf, type Sampled } from './fit.ts';

const { sample, throughDay } = workerData as { sample: readonly Sampled[]; throughDay: number };
parentPort?.postMessage(modelsOf(sample, throughDay));
