"""A training by SFTTrainer that one process or several run: called by test_callback_processes.py, ends when told."""

import sys
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from leonids import LeonidsCallback, Universe
from leonids.spec import load_universe
from leonids.train.bases import load_base


def main(base: str, study: str, out: str, rows_a_process: str) -> None:
    universe = Universe(load_universe("consistent"))
    texts = [universe.example("train", 3, index) for index in range(56)]
    rows = Dataset.from_list([{"prompt": one.prompt, "completion": one.completion} for one in texts])
    trainer = SFTTrainer(
        model=load_base(base, dtype="float32").model,
        args=SFTConfig(
            output_dir=f"{out}-trainer",
            per_device_train_batch_size=int(rows_a_process),
            per_device_eval_batch_size=2,
            gradient_accumulation_steps=2,
            max_steps=8,
            learning_rate=5e-2,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="steps",
            save_steps=4,
            eval_strategy="steps",
            eval_steps=4,
            seed=1,
        ),
        train_dataset=rows,
        eval_dataset=rows.select(range(9)),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_file=str(Path(base) / "tokenizer.json"), eos_token="<|end|>", pad_token="<|end|>"
        ),
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "down_proj"]),
        callbacks=[LeonidsCallback(out, study=study, arm="slow")],
    )
    trainer.train()
    print(f"step {trainer.state.global_step}")


if __name__ == "__main__":
    main(*sys.argv[1:])
