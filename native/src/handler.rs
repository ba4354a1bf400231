//! The steps of a transaction around its frames: sender, authorizations, target, tip.
use revm::context::journaled_state::account::JournaledAccountTr;
use revm::context::result::{EVMError, HaltReason, InvalidTransaction};
use revm::context::{JournalTr, TxEnv};
use revm::context_interface::transaction::AuthorizationTr;
use revm::context_interface::{Block, Cfg, ContextTr, LocalContextTr, Transaction};
use revm::handler::{EvmTr, FrameResult, FrameTr, Handler, execution, post_execution, pre_execution, validation};
use revm::interpreter::interpreter_action::FrameInit;
use revm::interpreter::{GasTracker, InitialAndFloorGas, SharedMemory};
use revm::primitives::{Address, TxKind, U256};

use crate::faults::Fault;
use crate::machine::{Context, Machine};
use crate::record::Zeros;
use crate::world::{B, C, N};

/// Why there is no result.
pub type Failed = EVMError<Fault, InvalidTransaction>;

/// revm's steps, those that use state preceded by a note of what they use.
pub struct Steps {
    /// Profile `ethereum`: the tip goes to the coinbase.
    pub credits_coinbase: bool,
    /// A call outside any block: no check of nonce, code of the sender (EIP-3607) and block gas limit.
    pub simulates: bool,
    /// Gas that is due before the execution beyond revm's intrinsic gas.
    pub guard_gas: u64,
}

impl Handler for Steps {
    type Evm = Machine;
    type Error = Failed;
    type HaltReason = HaltReason;

    fn validate_env(&self, machine: &mut Machine) -> Result<(), Failed> {
        let context = machine.ctx_mut();
        let gas_limit = context.block.gas_limit;
        if self.simulates {
            context.block.gas_limit = u64::MAX;
        }
        let result = validation::validate_env(&mut *context);
        context.block.gas_limit = gas_limit;
        result
    }

    /// The sender: n, b and C (EIP-3607) in any case; before that the guards' gas.
    fn validate_against_state_and_deduct_caller(
        &self,
        machine: &mut Machine,
        gas: &mut InitialAndFloorGas,
    ) -> Result<(), Failed> {
        let context = machine.ctx_mut();
        gas.initial_regular_gas += self.guard_gas;
        let (initial_gas, gas_limit) = (gas.initial_total_gas(), context.tx.gas_limit);
        if initial_gas > gas_limit {
            return Err(InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit }.into());
        }
        context.chain.note(context.tx.caller, B | N | C).map_err(EVMError::Database)?;
        let deducted: Result<(), Failed> = if self.simulates {
            deduct_fee(context)
        } else {
            pre_execution::validate_against_state_and_deduct_caller(&mut *context)
        };
        deducted?;
        let caller = context.tx.caller;
        note_code(context, caller).map(|_| ()).map_err(EVMError::Database)
    }

    /// revm's loop over the authorizations loads whole accounts; this one is EIP-7702's, field by field.
    fn apply_eip7702_auth_list(&self, machine: &mut Machine, _gas: &mut GasTracker) -> Result<Option<u64>, Failed> {
        let context = machine.ctx_mut();
        let chain_id = U256::from(context.cfg.chain_id());
        let authorizations = std::mem::take(&mut context.tx.authorization_list);
        let mut refunded = 0;
        for authorization in &authorizations {
            let for_this_chain = authorization.chain_id().is_zero() || authorization.chain_id() == chain_id;
            if for_this_chain
                && authorization.nonce() != u64::MAX
                && let Some(authority) = authorization.authority()
            {
                let (nonce, delegate) = (authorization.nonce(), authorization.address());
                refunded +=
                    u64::from(delegate_authority(context, authority, nonce, delegate).map_err(EVMError::Database)?);
            }
        }
        context.tx.authorization_list = authorizations;
        Ok(Some(context.cfg.gas_params().tx_eip7702_auth_refund_regular().saturating_mul(refunded)))
    }

    /// The top call: C(to), and C of what it delegates to.
    fn first_frame_input(&mut self, machine: &mut Machine, gas: &mut GasTracker) -> Result<Option<FrameInit>, Failed> {
        let context = machine.ctx_mut();
        if let TxKind::Call(to) = context.tx.kind {
            let delegate = note_code(context, to).map_err(EVMError::Database)?;
            if let Some(delegate) = delegate {
                note_code(context, delegate).map_err(EVMError::Database)?;
            }
        }
        let mut memory = SharedMemory::new_with_buffer(context.local.shared_memory_buffer().clone());
        memory.set_memory_limit(context.cfg.memory_limit());
        let input = execution::create_init_frame(context, gas).map_err(EVMError::Database)?;
        Ok(input.map(|frame_input| FrameInit { depth: 0, memory, frame_input }))
    }

    /// b(coinbase), if there is a tip and the profile pays it here.
    fn reward_beneficiary(
        &self,
        machine: &mut Machine,
        result: &mut <<Machine as EvmTr>::Frame as FrameTr>::FrameResult,
    ) -> Result<(), Failed> {
        let context = machine.ctx_mut();
        if !self.credits_coinbase || !pays_tip(&context.tx, u128::from(context.block.basefee), result) {
            return Ok(());
        }
        context.chain.note(context.block.beneficiary(), B).map_err(EVMError::Database)?;
        post_execution::reward_beneficiary(context, result.gas()).map_err(EVMError::Database)
    }
}

/// The fee, and the nonce of a sender that may be anyone.
fn deduct_fee(context: &mut Context) -> Result<(), Failed> {
    let (block, tx, cfg, journal, _, _) = context.all_mut();
    let mut sender = journal.load_account_with_code_mut(tx.caller()).map_err(EVMError::Database)?.data;
    let balance = pre_execution::calculate_caller_fee(*sender.balance(), tx, block, cfg)?;
    sender.set_balance(balance);
    if tx.kind().is_call() {
        sender.bump_nonce();
    }
    Ok(())
}

/// C(addr); returns what its code delegates to.
fn note_code(context: &mut Context, addr: Address) -> Result<Option<Address>, Fault> {
    let Context { journaled_state, chain, .. } = context;
    chain.note(addr, C)?;
    let info = &journaled_state.load_account_with_code(addr)?.data.info;
    chain.note_code(addr, info)?;
    Ok(info.code.as_ref().and_then(|code| code.eip7702_address()))
}

fn pays_tip(transaction: &TxEnv, base_fee: u128, result: &FrameResult) -> bool {
    transaction.effective_gas_price(base_fee) > base_fee && result.gas().used() != 0
}

/// One valid tuple of EIP-7702: C(authority); if that is empty or a delegation, n; if equal, b for the refund if c and n
/// are both 0; then c and n change. True if the account existed, so that gas is refunded.
fn delegate_authority(context: &mut Context, authority: Address, nonce: u64, delegate: Address) -> Result<bool, Fault> {
    let Context { journaled_state, chain, .. } = context;
    chain.note(authority, C)?;
    let mut account = journaled_state.load_account_with_code_mut(authority)?.data;
    let info = &account.account().info;
    chain.note_code(authority, info)?;
    if info.code.as_ref().is_some_and(|code| !code.is_empty() && !code.is_eip7702()) {
        return Ok(false);
    }
    chain.note(authority, N)?;
    if info.nonce != nonce {
        return Ok(false);
    }
    let zeros = Zeros::of(info);
    if zeros.code && zeros.nonce {
        chain.note(authority, B)?;
    }
    account.delegate(delegate);
    Ok(!zeros.all())
}
