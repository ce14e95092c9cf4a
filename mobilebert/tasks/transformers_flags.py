"""What the flags of transformers' run_qa.py, run_glue.py and run_ner.py are called here, or why there is none.

Read where a flag is unknown; flags of the same name in both are not listed. Source: transformers 5.23's
``TrainingArguments`` and the argument classes of its examples, with older names that people still type.
"""

_BATCH = "--batch_size (of one forward pass on one device)"
_DATA = "--train_file, --dev_file and --test_file (or --data_dir), without them the data set is downloaded"
_BEST = "the best model by the dev set is kept in best/, the last in checkpoints/"
_AMP = "--amp bf16 or --amp fp16"
_LAUNCH = "nothing: GPUS=0,1 before the script trains on many devices, data parallel"
_LOGS = "nothing: logs, VisualDL's curves and curves.png are written into --output_dir"
_HUB = "nothing: no model is uploaded from here"
_LOADER = "nothing: batches are made in the background in any case"
_WHOLE = "nothing: all of a file is read; shorten the file"
_PADDING = "nothing: a batch is padded to its longest row"
_COMPILE = "nothing: the fast path is chosen by itself"

# Flag there -> flag here, or "nothing" with the reason.
HINTS = {
    "per_device_train_batch_size": _BATCH,
    "per_gpu_train_batch_size": _BATCH,
    "train_batch_size": "--global_batch_size (of an update over all devices)",
    "auto_find_batch_size": _BATCH,
    "per_device_eval_batch_size": "--eval_batch_size",
    "per_gpu_eval_batch_size": "--eval_batch_size",
    "eval_accumulation_steps": "--eval_batch_size",
    "lr": "--learning_rate",
    "epochs": "--num_train_epochs",
    "lr_scheduler_type": "--lr_schedule",
    "lr_scheduler_kwargs": "--min_lr, --decay_ratio, --lr_power",
    "warmup_proportion": "--warmup_ratio",
    "optim": "--optimizer adamw or --optimizer lamb",
    "optim_args": "--adam_beta1, --adam_beta2, --adam_epsilon",
    "optim_target_modules": "nothing: the optimizer moves all parameters",
    "label_smoothing_factor": "nothing: MobileBERT's recipes have no label smoothing",
    "neftune_noise_alpha": "nothing: MobileBERT's recipes have no noise",
    "fp16": "--amp fp16",
    "bf16": "--amp bf16",
    "fp16_full_eval": _AMP,
    "bf16_full_eval": _AMP,
    "half_precision_backend": _AMP,
    "tf32": "NVIDIA_TF32_OVERRIDE=1 in the environment",
    "logging_steps": "--log_steps",
    "logging_strategy": "--log_steps",
    "logging_first_step": "--log_steps 1",
    "logging_dir": _LOGS,
    "logging_nan_inf_filter": "--on_nan",
    "report_to": _LOGS,
    "run_name": _LOGS,
    "project": _LOGS,
    "disable_tqdm": "nothing: the progress bar shows on a terminal only",
    "log_level": "MOBILEBERT_QUIET=1 in the environment",
    "eval_strategy": "--eval_steps",
    "evaluation_strategy": "--eval_steps",
    "evaluate_during_training": "--do_eval with --eval_steps",
    "eval_on_start": "--do_eval without --do_train",
    "eval_delay": "--eval_steps",
    "save_strategy": "--save_steps",
    "save_total_limit": "--keep_checkpoints",
    "save_only_model": _BEST,
    "load_best_model_at_end": _BEST,
    "metric_for_best_model": "nothing: the task's own metric decides",
    "greater_is_better": "nothing: the task's own metric decides",
    "early_stopping_patience": "--early_stop_patience",
    "resume_from_checkpoint": "--resume",
    "ignore_data_skip": "--resume (the order of the data goes on exactly)",
    "data_seed": "--seed",
    "full_determinism": "nothing: a run is repeated by its --seed",
    "train_sampling_strategy": "--group_by_length",
    "length_column_name": "--group_by_length",
    "dataloader_drop_last": "nothing: an epoch ends with a short batch, so that no example is lost",
    "dataloader_num_workers": _LOADER,
    "dataloader_pin_memory": _LOADER,
    "dataloader_prefetch_factor": _LOADER,
    "dataloader_persistent_workers": _LOADER,
    "preprocessing_num_workers": "nothing: all cores are used",
    "use_cpu": "DEVICE=cpu bash scripts/setup.sh, which installs Paddle for the CPU",
    "no_cuda": "DEVICE=cpu bash scripts/setup.sh, which installs Paddle for the CPU",
    "local_rank": _LAUNCH,
    "fsdp": _LAUNCH,
    "deepspeed": _LAUNCH,
    "ddp_backend": _LAUNCH,
    "ddp_find_unused_parameters": _LAUNCH,
    "gradient_checkpointing": "--recompute",
    "torch_compile": _COMPILE,
    "push_to_hub": _HUB,
    "hub_model_id": _HUB,
    "hub_token": "HF_TOKEN in the environment",
    "token": "HF_TOKEN in the environment",
    "use_auth_token": "HF_TOKEN in the environment",
    "model_revision": "scripts/download_weights.sh, which fetches a model into a folder",
    "trust_remote_code": "nothing: no code of a model is run",
    "use_fast_tokenizer": "nothing: the tokenizer is fast, and equal to the slow one",
    "do_lower_case": "nothing: the checkpoint's tokenizer_config.json says it",
    "ignore_mismatched_sizes": "--init_from, which takes the encoder and makes a new head",
    "model_type": "nothing: MobileBERT",
    "dataset_name": _DATA,
    "dataset_config_name": "--version_2_with_negative (SQuAD) or --task_name (GLUE)",
    "validation_file": "--dev_file",
    "predict_file": "--dev_file",
    "eval_file": "--dev_file",
    "overwrite_cache": '--cache_dir "" (the cache knows its data by content)',
    "pad_to_max_length": _PADDING,
    "max_length": "--max_seq_length",
    "max_query_length": "nothing: a question is kept whole",
    "max_train_samples": _WHOLE,
    "max_eval_samples": _WHOLE,
    "max_val_samples": _WHOLE,
    "max_predict_samples": _WHOLE,
    "text_column_name": "--text_column",
    "label_column_name": "--label_column",
    "text_column_names": "--text_column",
    "metric_name": "nothing: the task's own metrics",
    "do_regression": "--regression",
    "weight_decay_rate": "--weight_decay",
    "clip_norm": "--max_grad_norm",
}
# Of run_ner.py, in the place of the above.
NER_HINTS = {
    **HINTS,
    "dataset_name": "--train_file, --dev_file and --test_file",
    "dataset_config_name": "--train_file, --dev_file and --test_file",
    "task_name": "nothing: --tag_column chooses entities or parts of speech",
    "text_column_name": "nothing: words are the first column, or tokens in JSON",
    "label_column_name": "--tag_column",
    "return_entity_level_metrics": "nothing: types.txt has the scores of each type",
}
# Of run_pretrain.py and run_distill.py: what transformers' run_mlm.py and Google's run_pretraining.py are told.
_ROWS = "--train_data and --dev_data, folders that python -m mobilebert pretrain-data makes of text"
_DECIDED = "nothing: python -m mobilebert pretrain-data decides it, when it makes the rows"
PRETRAIN_HINTS = {
    **HINTS,
    **dict.fromkeys(("train_file", "dev_file", "test_file", "data_dir", "input_file", "dataset_name"), _ROWS),
    **dict.fromkeys(("dataset_config_name", "validation_file", "predict_file", "eval_file", "text_column"), _ROWS),
    **dict.fromkeys(("max_seq_length", "max_length", "mlm_probability", "masked_lm_prob", "line_by_line"), _DECIDED),
    **dict.fromkeys(("max_predictions_per_seq", "text_column_name", "dynamic_masking", "whole_word_mask"), _DECIDED),
    "do_predict": "nothing: pre-training is evaluated only",
    "init_checkpoint": "--init_from",
    "bert_config_file": "--config_name",
    "vocab_file": "--tokenizer_name",
    "num_train_steps": "--max_steps",
    "num_warmup_steps": "--warmup_steps",
    "save_checkpoints_steps": "--save_steps",
}
