// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// A constant-product pool of two ERC-20 tokens at fixed addresses. Both reserves share slot 0, which every swap writes.
contract Pair {
    IToken constant SOLD = IToken(0x1000000000000000000000000000000000000001);
    IToken constant BOUGHT = IToken(0x1000000000000000000000000000000000000002);

    uint128 public reserveSold;
    uint128 public reserveBought;

    event Swap(address indexed trader, uint256 sold, uint256 bought);

    /// Sells `sold` for what the product of the reserves leaves, less 0.3 %.
    function swap(uint256 sold, uint256 leastBought) external returns (uint256 bought) {
        uint256 paid = sold * 997;
        bought = (paid * reserveBought) / (uint256(reserveSold) * 1000 + paid);
        require(bought >= leastBought, "too little");
        reserveSold += uint128(sold);
        reserveBought -= uint128(bought);
        require(SOLD.transferFrom(msg.sender, address(this), sold));
        require(BOUGHT.transfer(msg.sender, bought));
        emit Swap(msg.sender, sold, bought);
    }
}
