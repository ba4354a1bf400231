//! revm with a record: runs one call on a [`World`] and says what it used, field by field.
use revm::context::result::{EVMError, ExecutionResult};
use revm::context::{BlockEnv, CfgEnv, ContextError, ContextSetters, Evm, FrameStack, Journal, JournalTr, TxEnv};
use revm::handler::evm::{ContextDbError, FrameInitResult};
use revm::handler::instructions::EthInstructions;
use revm::handler::{
    EthFrame, EthPrecompiles, EvmTr, FrameInitOrResult, FrameResult, Handler, PrecompileProvider, SYSTEM_ADDRESS,
};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_action::FrameInit;
use revm::interpreter::{CallValue, CreateInputs, FrameInput};
use revm::primitives::constants::CALL_STACK_LIMIT;
use revm::primitives::{Address, Bytes, TxKind, U256};
use revm::state::EvmState;

use crate::cells::Use;
use crate::environment::Setting;
use crate::faults::Fault;
use crate::handler::{Failed, Steps};
use crate::opcodes;
use crate::precompiles::PrecompileSet;
use crate::record::{Record, Zeros};
use crate::uses::{self, Ran};
use crate::world::{B, C, N, World};

/// revm's context on our world, with our record in its free slot.
pub type Context = revm::Context<BlockEnv, TxEnv, CfgEnv, World, Journal<World>, Record>;
/// revm's opcodes for that context.
pub type Instructions = EthInstructions<EthInterpreter, Context>;

/// Gas of a system call (EIP-4788, 2935, 7002, 7251).
const SYSTEM_CALL_GAS: u64 = 30_000_000;

/// What there is to run.
pub enum Call {
    Transaction {
        transaction: Box<TxEnv>,
        /// Gas that is due before the execution beyond what Ethereum asks for: guards (X4).
        guard_gas: u64,
    },
    /// A call by 0xff..fe without fee and nonce.
    System { to: Address, data: Bytes },
}

/// revm's machine in one block's setting. Not `Send`: make one per thread.
pub struct Machine {
    evm: Evm<Context, (), Instructions, EthPrecompiles, EthFrame<EthInterpreter>>,
    credits_coinbase: bool,
}

impl Machine {
    pub fn new(setting: &Setting, mut world: World) -> Self {
        let spec = setting.spec();
        world.use_fork(spec);
        let mut context: Context = revm::Context::new(world, spec);
        context.cfg = setting.cfg.clone();
        context.block = setting.block.clone();
        context.chain = Record::new(PrecompileSet::of(spec), setting.limits);
        let mut instructions = Instructions::new_mainnet_with_spec(spec);
        opcodes::install(&mut instructions);
        let precompiles = EthPrecompiles::new(spec);
        // A system call runs without the step that tells the journal of the fork.
        context.journaled_state.set_spec_id(spec);
        let addresses = PrecompileProvider::<Context>::warm_addresses(&precompiles);
        context.journaled_state.warm_precompiles(addresses);
        let frame_stack = FrameStack::new_prealloc(8);
        let evm = Evm { ctx: context, inspector: (), instruction: instructions, precompiles, frame_stack };
        Self { evm, credits_coinbase: setting.credits_coinbase }
    }

    pub fn world(&mut self) -> &mut World {
        &mut self.evm.ctx.journaled_state.database
    }

    pub fn into_world(self) -> World {
        self.evm.ctx.journaled_state.database
    }

    /// Runs one call and says what it used; the world stays as it was. In an isolated world the first use of an
    /// undeclared location is a fault.
    pub fn run(&mut self, call: Call) -> Result<Ran, Fault> {
        self.start();
        let mut steps = self.steps(false);
        let (result, is_system) = match call {
            Call::Transaction { transaction, guard_gas } => {
                steps.guard_gas = guard_gas;
                self.evm.ctx.set_tx(*transaction);
                (steps.run(self), false)
            }
            Call::System { to, data } => {
                self.evm.ctx.chain.lift_limits();
                self.evm.ctx.set_tx(system_transaction(to, data));
                (steps.run_system_call(self), true)
            }
        };
        let (result, uses, state) = self.finish(result)?;
        Ok(Ran {
            success: result.is_success(),
            gas_used: if is_system { 0 } else { result.tx_gas_used() },
            logs: if is_system { Vec::new() } else { result.into_logs() },
            uses,
            code_bytes: self.evm.ctx.chain.code_bytes(),
            codes: uses::codes_made(state),
        })
    }

    /// Runs a call outside any block, by anyone; the world stays as it was.
    pub fn simulate(&mut self, transaction: TxEnv) -> Result<(ExecutionResult, Vec<Use>), Fault> {
        self.start();
        self.evm.ctx.set_tx(transaction);
        let result = self.steps(true).run(self);
        self.finish(result).map(|(result, uses, _)| (result, uses))
    }

    fn steps(&self, simulates: bool) -> Steps {
        Steps { credits_coinbase: self.credits_coinbase, simulates, guard_gas: 0 }
    }

    /// The result with what was used; the journal is left empty, whatever the result.
    fn finish(
        &mut self,
        result: Result<ExecutionResult, Failed>,
    ) -> Result<(ExecutionResult, Vec<Use>, EvmState), Fault> {
        let state = self.evm.ctx.journaled_state.finalize();
        let result = result.map_err(fault)?;
        let uses = uses::collect(&state, &self.evm.ctx.chain, self.evm.ctx.cfg.spec)?;
        Ok((result, uses, state))
    }

    fn start(&mut self) {
        let Context { chain, error, journaled_state, .. } = &mut self.evm.ctx;
        *error = Ok(());
        let world = &journaled_state.database;
        chain.start(world.is_isolated().then(|| world.declared()));
    }

    /// What entering a frame uses, before revm enters it.
    fn note_frame(&mut self, frame: &FrameInit) -> Result<(), Fault> {
        if frame.depth > CALL_STACK_LIMIT as usize {
            return Ok(());
        }
        match &frame.frame_input {
            FrameInput::Call(call) => match call.value {
                CallValue::Transfer(value) if !value.is_zero() => {
                    self.note_transfer(call.caller, call.target_address, value)
                }
                _ => Ok(()),
            },
            FrameInput::Create(create) => self.note_create(create),
            FrameInput::Empty => Ok(()),
        }
    }

    /// A call with value that passed the depth: b(self), and b(to) if the balance suffices.
    fn note_transfer(&mut self, from: Address, to: Address, value: U256) -> Result<(), Fault> {
        let Context { chain, journaled_state, .. } = &mut self.evm.ctx;
        chain.note(from, B)?;
        if journaled_state.load_account(from)?.data.info.balance < value {
            return Ok(());
        }
        chain.note(to, B)?;
        let balance = journaled_state.load_account(to)?.data.info.balance;
        fits(to, if from == to { U256::ZERO } else { balance }, value)
    }

    /// CREATE, CREATE2 and a creating transaction.
    fn note_create(&mut self, create: &CreateInputs) -> Result<(), Fault> {
        let Context { chain, journaled_state, .. } = &mut self.evm.ctx;
        let (creator, value) = (create.caller(), create.value());
        let pays = !value.is_zero();
        if pays {
            chain.note(creator, B)?;
        }
        let info = &journaled_state.load_account(creator)?.data.info;
        let (balance, nonce) = (info.balance, info.nonce);
        if pays && balance < value {
            return Ok(());
        }
        chain.note(creator, N)?;
        if nonce == u64::MAX {
            return Ok(());
        }
        chain.note_create();
        let new = create.created_address(nonce);
        chain.note(new, C)?;
        let info = &journaled_state.load_account(new)?.data.info;
        let (zeros, balance) = (Zeros::of(info), info.balance);
        if zeros.code {
            chain.note_no_code(new);
            chain.note(new, N)?;
            if zeros.nonce && pays {
                chain.note(new, B)?;
                fits(new, balance, value)?;
            }
        }
        Ok(())
    }
}

/// The EVM's own sum would wrap or lose ether here; no chain that obeys M6 comes close.
fn fits(to: Address, balance: U256, value: U256) -> Result<(), Fault> {
    match balance.checked_add(value) {
        Some(_) => Ok(()),
        None => Err(Fault::Unsupported(format!("the balance of {to:#x} overflows 256 bits"))),
    }
}

fn system_transaction(to: Address, data: Bytes) -> TxEnv {
    TxEnv { caller: SYSTEM_ADDRESS, gas_limit: SYSTEM_CALL_GAS, kind: TxKind::Call(to), data, ..TxEnv::default() }
}

fn fault(error: Failed) -> Fault {
    match error {
        EVMError::Database(fault) => fault,
        EVMError::Transaction(invalid) => Fault::invalid(invalid.to_string()),
        EVMError::Header(header) => Fault::invalid(header.to_string()),
        other => Fault::Internal(other.to_string()),
    }
}

impl EvmTr for Machine {
    type Context = Context;
    type Instructions = Instructions;
    type Precompiles = EthPrecompiles;
    type Frame = EthFrame<EthInterpreter>;

    fn all(&self) -> (&Context, &Instructions, &EthPrecompiles, &FrameStack<Self::Frame>) {
        self.evm.all()
    }

    fn all_mut(&mut self) -> (&mut Context, &mut Instructions, &mut EthPrecompiles, &mut FrameStack<Self::Frame>) {
        self.evm.all_mut()
    }

    fn frame_init(&mut self, frame: FrameInit) -> Result<FrameInitResult<'_, Self::Frame>, ContextDbError<Context>> {
        self.note_frame(&frame).map_err(ContextError::Db)?;
        self.evm.frame_init(frame)
    }

    fn frame_run(&mut self) -> Result<FrameInitOrResult<Self::Frame>, ContextDbError<Context>> {
        self.evm.frame_run()
    }

    fn frame_return_result(&mut self, result: FrameResult) -> Result<Option<FrameResult>, ContextDbError<Context>> {
        self.evm.frame_return_result(result)
    }
}
